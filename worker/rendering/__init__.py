"""Mails: compiled once for all readers, personalised for each one."""

from worker.rendering.compiler import CompiledMail, MailCompiler, render_alone
from worker.rendering.context import confirmation_context, post_context
from worker.rendering.errors import ContentTooLarge, Unaddressable
from worker.rendering.headers import needs_smtputf8

__all__ = [
    "CompiledMail",
    "ContentTooLarge",
    "MailCompiler",
    "Unaddressable",
    "confirmation_context",
    "needs_smtputf8",
    "post_context",
    "render_alone",
]
