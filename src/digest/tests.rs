//! Both sides against each other, value by value.

use super::*;
