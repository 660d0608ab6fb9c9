"""The demo's mailbox: an SMTP server that keeps everything it gets, and pages to look at it. Not for the Internet."""
