//! Ingesters in one process: real groups on simulated disks, real gRPC on loopback, and controllers
//! that are one catalog behind a socket.

pub(crate) mod fixture;

mod answers;
mod lives;
mod seals;
