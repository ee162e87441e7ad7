//! Where channels are: layouts of images, and moving transposes.
