//! The `resetstorm` program: hands the command line over to the library.

fn main() -> std::process::ExitCode {
    resetstorm::cli::main()
}
