//! Pages for people: templates that escape by default, and the headers that every page carries.
