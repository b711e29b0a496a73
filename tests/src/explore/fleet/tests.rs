//! The checker can fail.
