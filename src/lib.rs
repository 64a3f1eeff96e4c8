//! atalaya
