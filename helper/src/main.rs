//! The program `debmock-helper`: started by the library with a socket as standard input.

fn main() {
    std::process::exit(debmock_helper::serve::run());
}
