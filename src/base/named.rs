/// Declares enums whose values have a name in outputs.
macro_rules! named {
    ($($(#[$outer:meta])* pub enum $name:ident {
        $($(#[$meta:meta])* $value:ident = $word:literal,)*
    })*) => {$(
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$meta])* $value,)* }

        impl $name {
            /// Every value, in order.
            pub const ALL: [$name; [$($word),*].len()] = [$($name::$value),*];

            /// The word in outputs.
            pub const fn name(self) -> &'static str {
                match self { $($name::$value => $word,)* }
            }
        }
    )*};
}

/// The same for values that are written as that word, by people and in documents.
macro_rules! words {
    ($($(#[$outer:meta])* pub enum $name:ident { $($values:tt)* })*) => {$(
        $crate::base::named! { $(#[$outer])* pub enum $name { $($values)* } }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    )*};
}

pub(crate) use {named, words};
