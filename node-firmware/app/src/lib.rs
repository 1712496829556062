//! The node application.
#![no_std]
