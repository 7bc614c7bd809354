//! The `kmirror` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(kmirror::cli::main()),
        Err(error) => {
            eprintln!("kmirror: cannot start: {error}");
            ExitCode::from(kmirror::cli::EXIT_INTERNAL)
        }
    }
}
