//! A supervised pool of worker processes for actix.
