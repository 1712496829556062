//! Client stacks in the field, played octet by octet as their sources say (digest A.20), with
//! the profiles that are made for them.
