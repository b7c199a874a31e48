//! Real servers, started for the tests and ended with them.

pub mod cutting;
pub mod postgres;
pub mod process;
pub mod seaweed;
pub mod web;

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}
