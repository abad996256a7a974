//! Where images come from: references, docker archives, OCI layouts and archives, standard input.
