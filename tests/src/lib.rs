//! Network namespaces, the lab built of them, and the independent judges of the wire.
