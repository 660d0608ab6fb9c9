"""Words that lead into a parser's corners; random bytes alone seldom get past the first one."""

from __future__ import annotations

COMMON = [
    "\r\n", "\n", "\n\n", "\x00", " ", "\t", "%00", "\ufeff", "\u2028", "\ud7ff", "é", "😀", "a" * 300, "-", "0",
    "9" * 25,
]  # fmt: skip
_JSON = [
    "{", "}", "[", "]", ":", ",", '"', "\\u0000", "\\ud800", "null", "true", "1e999", "-0.0", "1" * 5000,
    '"specversion":"1.0"', '"id":"1"', '"source":"urn:x"', '"type":"post.published"', '"type":"subscriber.created"',
    '"data":{', '"data_base64":"e30="', '"time":"0001-01-01T00:00:00+14:00"', '"publication":"daily"',
    '"subscriber":{"email":"a@b.example"}', '"post":{', '"current":{', '"previous":{', '"member":{',
    '"status":"published"', '"title":"t"', '"url":"https://x.example"', '"labels":["%"]', '"html":"<p>"',
    '"consent":{"at":"9999-12-31T23:59:59-10:00","ip":"fe80::1%x"}', '"confirmed":true', '"lists":["posts"]',
    '"visibility":"public"',
]  # fmt: skip
_HEADS = [
    "content-type: application/json\n", "ce-specversion: 1.0\n", "ce-id: ", "ce-source: ", "ce-type: ", "ce-time: ",
    '"', '\\"', "%C3%A9", "%C0%A0", "%ed%a0%80", "%", "application/x-www-form-urlencoded\n",
    "multipart/form-data; boundary=b\n", "--b", "--b--", 'Content-Disposition: form-data; name="a"',
    "email=a%40b.example", "&", "=", "application/json\n", "v1,", "sha256=",
]  # fmt: skip
_SMTP = [
    "250 ok\r\n", "250-", "550 5.1.1 ", "421 ", "450 4.7.28 ", "5.1.1 ", "354 ", "rate limit", "999 ", "\x1b[31m",
    "x" * 600,
]  # fmt: skip
_MAIL = [
    "@", ".", "a@b.example", '"', "\\", "[127.0.0.1]", "xn--", "--", "ß", "İ", "K", ".arpa", "+", "b+1-", "<", ">",
    "(c)", ",",
]  # fmt: skip
_CSV = [
    "email,name,labels,consent_at,consent_ip\n", '"', '""', ";", "a@b.example,", "0001-01-01T00:00:00+14:00,",
    "fe80::1%z", "=1+1",
]  # fmt: skip
_HTML = [
    "<", ">", "</", "/>", "<p>", "</p>", "<a href=", "<img src=", "javascript:", "<b ", "<svg>", "<math>", "<table>",
    "<td>", "<style>", "<!--", "-->", "<![CDATA[", "]]>", "<template>", "<noscript>", "<title>", "&#0;", "&lt;",
    "&#x110000;", "onerror=", "<iframe src=x>", "<textarea>", "<plaintext>", "</body>", "<xmp>", "'", "=", "<form>",
    "<select>", "<option>", "<li>", "<ul>", "<object>", "`",
]  # fmt: skip
_URLS = [
    "://", "smtp://u:p@h", "whsec_", "Bearer ", "/confirm/", "A" * 43, ":", "//", "::1", "[::1]:80", "10.0.0.1",
    "127.0.0.1", "%lo",
]  # fmt: skip
_JINJA = [
    "{{", "}}", "{%", "%}", "{#", "#}", "{{ recipient.name }}", "{{ recipient.email|upper }}",
    "{% if recipient.name %}", "{% else %}", "{% endif %}", "{{ recipient }}", "{{ recipient.name.x }}",
    "|truncate(3)", "|default('x')", "|urlencode", "|e", "{{ recipient.confirm_url }}",
    "{% set x = recipient.name %}", "{{ x }}", "{% for l in lists %}", "{% endfor %}", "{{ l.name }}", "{% raw %}",
    "{% endraw %}", "{{ recipient.name ~ 'a' }}", "{{ [recipient.name] }}", "{{ recipient.locale == 'en' }}",
    "{{ 1/0 }}", "{% include 'x' %}", ".", "\r",
]  # fmt: skip
WORDS = {
    "json_text": _JSON, "structured_event": _JSON, "binary_event": _HEADS + _JSON, "ghost_hook": _JSON,
    "event_file": _JSON,
    "signature_header": _HEADS, "smtp_replies": _SMTP, "address": _MAIL, "csv_file": _CSV + _MAIL, "link_token": _URLS,
    "bounce_address": _MAIL, "post_html": _HTML, "form_body": _HEADS + _JSON, "forwarded_for": _URLS, "log_line": _URLS,
    "template": _JINJA,
}  # fmt: skip
BEGINNINGS = {
    "structured_event": '{"specversion":"1.0","id":"1","source":"urn:x",',
    "csv_file": "email,name,labels,consent_at,consent_ip\n",
    "binary_event": "content-type: application/json\nce-specversion: 1.0\nce-id: 1\nce-source: urn:x\nce-type: y\n",
    "form_body": "multipart/form-data; boundary=b\n--b\r\n", "smtp_replies": "250",
    "ghost_hook": '{"post":{"current":{',
}  # fmt: skip
