"""A written page as a test reads it: its tags, and the words that a reader sees."""
import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {'meta', 'img', 'br', 'input', 'link', 'hr'}


class Page(HTMLParser):
    """Tags with their attributes and the words: all, those folded, those above; fails on tags that do not match."""

    def __init__(self, path: Path):
        super().__init__()
        self.source = path.read_text(encoding='utf-8')
        self.tags, self.words, self.folded, self.above, self.open = [], '', '', '', []
        self.feed(self.source)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if self.open[-1:] not in (['style'], ['script']):
            self.words += data
            if 'details' in self.open and self.open[-1] != 'summary':
                self.folded += data
            else:
                self.above += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]

    def stands_alone(self) -> bool:
        """Whether it needs nothing from elsewhere, and no part of a template was left open."""
        sources = [attributes['src'] for _, attributes in self.tags if 'src' in attributes]
        return (all(source.startswith('data:image/') for source in sources)
                and not any('href' in attributes or any(name.startswith('on') for name in attributes)
                            for _, attributes in self.tags)
                and not re.search(r'url\(|@import|https?://|\{\{|\{%', self.source))
