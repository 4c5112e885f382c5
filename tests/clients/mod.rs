//! Stock clients: what a newcomer has installed must work with `dev.env` and nothing else.
