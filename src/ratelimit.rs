//! Rate limits: one bounded map of keys per limit.
