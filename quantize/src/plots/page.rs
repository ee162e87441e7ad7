//! A page that shows pictures beside the figures that they are made of.

use std::fmt::Write;

/// An HTML page with a heading, pictures as SVG, and a table whose first row are the names of its columns.
pub fn page(title: &str, pictures: &[String], rows: &[Vec<String>]) -> String {
    let mut html =
        String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>");
    escape(&mut html, title);
    html.push_str(
        "</title>\n<style>\nbody { font-family: sans-serif; margin: 2em; max-width: 960px; }\n\
         table { border-collapse: collapse; }\nth, td { padding: 0.2em 0.8em; text-align: right; border-bottom: 1px solid #ddd; }\n\
         th:first-child, td:first-child { text-align: left; }\n</style>\n</head>\n<body>\n<h1>",
    );
    escape(&mut html, title);
    html.push_str("</h1>\n");
    for picture in pictures {
        html.push_str(picture);
        html.push('\n');
    }
    html.push_str("<table>\n");
    for (index, row) in rows.iter().enumerate() {
        let tag = if index == 0 { "th" } else { "td" };
        html.push_str("<tr>");
        for cell in row {
            // Writing to a string does not fail.
            let _ = write!(html, "<{tag}>");
            escape(&mut html, cell);
            let _ = write!(html, "</{tag}>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</table>\n</body>\n</html>\n");
    html
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
        let rows = [vec!["adapter".to_owned(), "PSNR".to_owned()], vec!["<b>".to_owned(), "50.5".to_owned()]];
        let html = page("A & B", &["<svg></svg>".to_owned()], &rows);
        for part in ["<title>A &amp; B</title>", "<svg></svg>", "<th>PSNR</th>", "<td>&lt;b&gt;</td>"] {
            assert!(html.contains(part), "`{part}` is not in\n{html}");
        }
    }
}
