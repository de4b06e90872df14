"""Essays that would do something if a page took them for more than text."""

ESSAYS = [
    "[click](javascript:alert(1))",
    "[click]( java\tscript:alert(1) 'x')",
    "[click][1]\n\n[1]: javascript:alert(1)",
    "![x](javascript:alert(1)) ![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
    "<javascript:alert(1)> <https://example.org> https://example.org www.example.org a@example.org",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><iframe src='data:text/html,x'></iframe><base href='//example.org'><form action=x>",
    "<div style='background: url(//example.org)'>x</div><meta http-equiv=refresh content='0;//example.org'>",
    "</pre><script>alert(1)</script><pre>",
    "</code></pre>\n\n[click](vbscript:x)",
    "```\n</pre>\n```\n\n[click](data:text/html,x)",
    "\n\n    indented\n\n[a](javascript:1)\n\n| [b](javascript:2) |\n| --- |\n",
    r"$\href{javascript:alert(1)}{x}$ \(\href{javascript:alert(1)}{x}\) $$\style{background:url(x)}{y}$$",
    r"\begin{equation}\href{javascript:alert(1)}{x}\end{equation}",
    "&lt;script&gt; &#60;script> &#x5b;x](javascript:1)",
    "{{ 1 + 1 }} {% raw %} <!-- <script> --> <![CDATA[<script>]]>",
]
