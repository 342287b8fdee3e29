//! What is known about upstreams and their authorization servers, as data.
