"""Mails: compiled once for all readers, personalised for each one."""

from worker.rendering.cleaning import clean_text, clean_url
from worker.rendering.compiler import CompiledMail, MailCompiler, render_alone
from worker.rendering.context import confirmation_context, post_context
from worker.rendering.errors import ContentTooLarge, Unaddressable, Unmakeable, unmakeable_otherwise
from worker.rendering.headers import needs_smtputf8

__all__ = [
    "CompiledMail",
    "ContentTooLarge",
    "MailCompiler",
    "Unaddressable",
    "Unmakeable",
    "clean_text",
    "clean_url",
    "confirmation_context",
    "needs_smtputf8",
    "post_context",
    "render_alone",
    "unmakeable_otherwise",
]
