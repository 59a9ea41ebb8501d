use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use crate::cluster::{Peer, WebService};

use super::counts::{TcpCounters, add, bump};
use super::http::{answer, serve_http1};
use super::listener::{Face, Hall, Shown};

/// Tomcat of a node as HTTP or HTTPS shows it.
#[derive(Clone)]
pub(super) struct WebFace {
    /// How it proves its identity over HTTPS, with Tomcat.pem of the node.
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) service: Arc<WebService>,
    pub(super) header_deadline: Duration,
}

/// What a page is.
const XML: &str = "text/xml; charset=utf-8";

impl Face for WebFace {
    const HEARS_FIRST: bool = true;

    fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }

    async fn talk<S>(self, shown: Shown<WebFace>, hall: Arc<Hall>, stream: S, _: Peer)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let counters = &hall.counters;
        let service = service_fn(|request: Request<Incoming>| {
            // The connection outlives a restart; each request sees the service of its moment.
            let face = shown.read().unwrap_or_else(PoisonError::into_inner).clone();
            async move { Ok::<_, Infallible>(face.respond(&request, counters)) }
        });
        serve_http1(stream, service, self.header_deadline, counters).await;
    }
}

impl WebFace {
    fn respond(
        &self,
        request: &Request<Incoming>,
        counters: &TcpCounters,
    ) -> Response<Full<Bytes>> {
        bump(&counters.requests);
        let is_head = *request.method() == Method::HEAD;
        if !is_head && *request.method() != Method::GET {
            bump(&counters.refused_method);
            return answer(StatusCode::METHOD_NOT_ALLOWED, Bytes::new(), XML);
        }
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let Some(page) = self.service.page(target, self.tls.is_some()) else {
            bump(&counters.not_found);
            return answer(StatusCode::NOT_FOUND, Bytes::new(), XML);
        };
        bump(&counters.answers);
        if !is_head {
            add(&counters.bytes_out, page.len() as u64);
        }
        answer(StatusCode::OK, Bytes::from(page), XML)
    }
}
