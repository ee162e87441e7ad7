//! Pages that show pictures beside the figures that they are made of. A page is one file and needs no other.

use std::fmt::Write;

/// What all pages look like. Colours follow the reader's choice of light and dark; pictures stay on white.
const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font-family: sans-serif; line-height: 1.45; margin: 2em auto; max-width: 960px; padding: 0 1em; }
h2 { margin-top: 2em; border-bottom: 1px solid #8888; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: 0.2em 0.8em; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
svg { max-width: 100%; height: auto; }
figure { display: inline-block; margin: 0.5em; text-align: center; }
figure img { width: 128px; image-rendering: pixelated; }
";

/// A page of sections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// Its sections, from top to bottom.
    pub sections: Vec<Section>,
}

/// Something that a page shows, with pictures first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its heading; without one it follows what is above.
    pub heading: Option<String>,
    /// Paragraphs.
    pub text: Vec<String>,
    /// Pictures as SVG.
    pub pictures: Vec<String>,
    /// Images with what is written below them.
    pub images: Vec<Image>,
    /// A table whose first row are the names of its columns.
    pub rows: Vec<Vec<String>>,
}

/// An image of a few pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The file as a `data:` address.
    pub address: String,
    /// What is written below it.
    pub caption: String,
}

/// A page of one section: pictures as SVG above a table whose first row are the names of its columns.
pub fn page(title: &str, pictures: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let section = Section { pictures, rows, ..Section::default() };
    Page { title: title.to_owned(), sections: vec![section] }.html()
}

impl Section {
    /// A section with this heading.
    pub fn new(heading: &str) -> Self {
        Self { heading: Some(heading.to_owned()), ..Self::default() }
    }
}

impl Page {
    /// The page as HTML.
    pub fn html(&self) -> String {
        let mut html =
            String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>");
        escape(&mut html, &self.title);
        // Writing to a string does not fail.
        let _ = write!(html, "</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n");
        element(&mut html, "h1", &self.title);
        self.sections.iter().for_each(|section| section.write(&mut html));
        html.push_str("</body>\n</html>\n");
        html
    }
}

impl Section {
    fn write(&self, html: &mut String) {
        if let Some(heading) = &self.heading {
            element(html, "h2", heading);
        }
        self.text.iter().for_each(|paragraph| element(html, "p", paragraph));
        for picture in &self.pictures {
            html.push_str(picture);
            html.push('\n');
        }
        for image in &self.images {
            html.push_str("<figure><img alt=\"\" src=\"");
            escape(html, &image.address);
            html.push_str("\">");
            element(html, "figcaption", &image.caption);
            html.push_str("</figure>\n");
        }
        if !self.rows.is_empty() {
            self.write_table(html);
        }
    }

    fn write_table(&self, html: &mut String) {
        html.push_str("<table>\n");
        for (index, row) in self.rows.iter().enumerate() {
            html.push_str("<tr>\n");
            let tag = if index == 0 { "th" } else { "td" };
            for cell in row {
                element(html, tag, cell);
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</table>\n");
    }
}

/// Adds an element that holds `text`.
fn element(html: &mut String, tag: &str, text: &str) {
    let _ = write!(html, "<{tag}>");
    escape(html, text);
    let _ = writeln!(html, "</{tag}>");
}

/// Adds `text` so that it is read as text.
fn escape(html: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_pictures_are_pictures() {
        let section = Section {
            text: vec!["1 < 2".to_owned()],
            pictures: vec!["<svg></svg>".to_owned()],
            images: vec![Image {
                address: "data:image/png;base64,AA==".to_owned(),
                caption: "\"x\"".to_owned(),
            }],
            rows: vec![
                vec!["adapter".to_owned(), "PSNR".to_owned()],
                vec!["<b>".to_owned(), "50.5".to_owned()],
            ],
            ..Section::new("Scores")
        };
        let html = Page { title: "A & B".to_owned(), sections: vec![section] }.html();
        for part in [
            "<title>A &amp; B</title>",
            "<h2>Scores</h2>",
            "<p>1 &lt; 2</p>",
            "<svg></svg>",
            "src=\"data:image/png;base64,AA==\"",
            "<figcaption>&quot;x&quot;</figcaption>",
            "<th>PSNR</th>",
            "<td>&lt;b&gt;</td>",
        ] {
            assert!(html.contains(part), "`{part}` is not in\n{html}");
        }
    }
}
