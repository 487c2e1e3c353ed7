from __future__ import annotations

from trainkit.reports.page import Markup, definitions, document, element, escape, join, section, table


def test_text_is_escaped_once_and_markup_never() -> None:
    assert escape("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#x27;"
    assert escape(escape("<b>")) == "&lt;b&gt;"
    assert element("p", "a < b", Markup("<br>")) == "<p>a &lt; b<br></p>"
    assert join(("<", element("i"), 3)) == "&lt;<i></i>3"


def test_attributes_are_quoted_and_none_is_left_out() -> None:
    text = element("td", "x", class_="a", data_name='"><script>', title=None)
    assert text == '<td class="a" data-name="&quot;&gt;&lt;script&gt;">x</td>'


def test_tables_name_their_rows_and_columns() -> None:
    assert table(("", "n"), [("<a>", 1)]) == (
        '<div class="scroll"><table><thead><tr><th scope="col"></th><th scope="col">n</th></tr></thead>'
        '<tbody><tr><th scope="row">&lt;a&gt;</th><td>1</td></tr></tbody></table></div>'
    )


def test_definitions_and_sections() -> None:
    assert definitions({"Seed": 0}) == "<dl><div><dt>Seed</dt><dd>0</dd></div></dl>"
    assert section("T", "x", note="n") == '<section><h2>T</h2><p class="note">n</p>x</section>'
    assert section("T") == "<section><h2>T</h2></section>"


def test_a_document_forbids_loading_anything() -> None:
    page = document("a < b", element("p", "x"))
    assert page.startswith("<!doctype html>")
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert "<title>a &lt; b</title>" in page
    assert "prefers-color-scheme: dark" in page
