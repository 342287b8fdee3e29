//! Why a client does not connect: what each client does, step by step, and where it fails.
