//! A reader of recorded answers that shares nothing with the program: elements as a tree. Recorded messages are well formed,
//! so it takes for granted what a reader of messages from outside may not.

/// An element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// Without its prefix.
    pub(crate) name: String,
    /// The namespace that it declares as the one without a prefix.
    pub(crate) namespace: Option<String>,
    /// As it stands there, escaped.
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The root of a document.
    pub(crate) fn read(document: &str) -> Self {
        let mut rest = document.trim();
        if rest.starts_with("<?") {
            rest = rest.split_once("?>").unwrap().1;
        }
        let (element, rest) = Self::parse(rest.trim());
        assert!(rest.trim().is_empty(), "{rest}");
        element
    }

    /// The first one below this one of that name.
    pub(crate) fn find(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|child| if child.name == name { Some(child) } else { child.find(name) })
    }

    /// The children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of a child.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.all(name).next().map(Self::plain)
    }

    /// The text of a child that must be there.
    pub(crate) fn value(&self, name: &str) -> String {
        self.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }

    /// Its text, unescaped.
    pub(crate) fn plain(&self) -> String {
        self.text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    }

    fn parse(text: &str) -> (Self, &str) {
        let (tag, mut rest) = text.strip_prefix('<').unwrap().split_once('>').unwrap();
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split_whitespace().next().unwrap();
        let namespace = tag.split_once("xmlns=\"").map(|(_, after)| after.split_once('"').unwrap().0.to_owned());
        let local = name.rsplit(':').next().unwrap().to_owned();
        let mut element = Self { name: local, namespace, text: String::new(), children: Vec::new() };
        if is_empty {
            return (element, rest);
        }
        let end = format!("</{name}>");
        loop {
            let (before, _) = rest.split_once('<').unwrap();
            element.text.push_str(before);
            rest = &rest[before.len()..];
            if let Some(after) = rest.strip_prefix(&end) {
                if !element.children.is_empty() {
                    assert!(element.text.trim().is_empty(), "text among the children of {name}");
                    element.text.clear();
                }
                return (element, after);
            }
            let (child, after) = Self::parse(rest);
            element.children.push(child);
            rest = after;
        }
    }
}

#[test]
fn a_tree_is_what_was_written() {
    let tree = Element::read(
        "<?xml version=\"1.0\"?> <a:B xmlns:a=\"x\"><C xmlns=\"urn:c\" d=\"1\">\n<D>1 &amp; 2</D><E/></C></a:B>\n",
    );
    assert_eq!((tree.name.as_str(), tree.children.len()), ("B", 1));
    let c = tree.find("C").unwrap();
    assert_eq!((c.namespace.as_deref(), c.text.as_str(), c.value("D").as_str()), (Some("urn:c"), "", "1 & 2"));
    assert_eq!((tree.find("E").unwrap().children.len(), c.get("F")), (0, None));
}
