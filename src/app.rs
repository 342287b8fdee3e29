//! Assembly: every part is built once, here.
