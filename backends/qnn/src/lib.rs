//! The QNN backend: graphs for the NPUs of Qualcomm.
