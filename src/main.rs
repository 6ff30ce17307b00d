//! The `outrigger` binary: parses arguments, runs the command, returns its exit code.

fn main() -> std::process::ExitCode {
    outrigger::cli::main()
}
