"""The shared vocabulary: values and keys that know no framework, no socket and no clock."""
