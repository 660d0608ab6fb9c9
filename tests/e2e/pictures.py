"""Pictures for looking at mails: drawn here, so that nothing is fetched."""

from __future__ import annotations

HERO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1072 603" width="1072" height="603">
<defs><linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">
<stop offset="0" stop-color="#26415e"/><stop offset=".55" stop-color="#c77f67"/><stop offset="1" stop-color="#f3d9b1"/>
</linearGradient></defs>
<rect width="1072" height="603" fill="url(#sky)"/>
<circle cx="742" cy="338" r="64" fill="#fbeed3"/>
<path d="M0 420 190 300 330 392 500 262 690 404 820 330 1072 430V603H0z" fill="#3c4f66" opacity=".75"/>
<path d="M0 476 240 402 430 462 640 392 860 470 1072 420V603H0z" fill="#26364a"/>
<path d="M0 540 280 492 560 534 840 488 1072 530V603H0z" fill="#161f2c"/>
</svg>"""

AUTHOR = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 80" width="80" height="80">
<rect width="80" height="80" fill="#d9c7b0"/><circle cx="40" cy="32" r="15" fill="#7a5a44"/>
<path d="M10 80c2-22 16-30 30-30s28 8 30 30z" fill="#31506b"/></svg>"""

LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 232 64" width="232" height="64">
<rect width="64" height="64" rx="14" fill="#1a56db"/>
<path d="M18 16h28v7H18zm0 12h28v4H18zm0 8h28v4H18zm0 8h18v4H18z" fill="#fff"/>
<text x="80" y="43" font-family="Georgia, serif" font-weight="700" font-size="32" fill="#8a8f96">The Daily</text>
</svg>"""

ALL = {"summit.jpg": HERO, "chandraketu.png": AUTHOR, "logo.png": LOGO}
