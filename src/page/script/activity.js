// What the activity page adds: values under the pointer, and the tail of the log as it grows.
