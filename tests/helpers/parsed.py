"""HTML as tests read it."""

import html.parser

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Parsed(html.parser.HTMLParser):
    """A page parsed strictly: what is opened is closed, in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.elements, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        found = dict(attributes)
        assert len(found) == len(attributes), f"{tag} has an attribute twice: {attributes}"
        self.elements.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"])

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]
