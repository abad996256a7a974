//! The layers of an image as bars: what of each can still be seen, and what later ones hide.

use super::{code, table, text};
use crate::inspect::model::{Layer, Layers};
use crate::inspect::render::units::size;

/// Width of a bar, in units of its picture.
const WIDTH: f64 = 300.0;

/// The chart is a table with a bar in each row.
pub fn layers(layers: &Layers) -> String {
    let largest = layers.layers.iter().map(|layer| layer.bytes).max().unwrap_or(0).max(1);
    let rows: Vec<Vec<String>> = layers.layers.iter().map(|layer| row(layer, largest)).collect();
    let mut out = format!(
        "<p><strong>{:.1} %</strong> of the bytes in the layers can be seen; {} of {} are hidden by later layers.</p>\n",
        layers.efficiency,
        size(layers.hidden),
        size(layers.bytes)
    );
    out.push_str(
        "<ul class=\"legend\">\n<li><span class=\"key userland\"></span>can be seen</li>\n\
         <li><span class=\"key kernel\"></span>hidden by a later layer</li>\n</ul>\n",
    );
    let headings = ["#", "Files", "#Bytes", "#Stored", "#Added", "#Changed", "#Removed", "Made by"];
    out.push_str(&table("Layers, lowest first", &headings, &rows));
    if !layers.largest_hidden.is_empty() {
        let rows: Vec<Vec<String>> = layers
            .largest_hidden
            .iter()
            .map(|file| vec![size(file.bytes), code(&file.path), file.layer.to_string(), file.hidden_by.to_string()])
            .collect();
        out.push_str(&table("The largest files that are hidden", &["#Bytes", "Path", "#Layer", "#Hidden by"], &rows));
    }
    out
}

fn row(layer: &Layer, largest: u64) -> Vec<String> {
    let scale = |bytes: u64| bytes as f64 / largest as f64 * WIDTH;
    let seen = layer.bytes.saturating_sub(layer.hidden);
    let name = format!("{} can be seen, {} hidden", size(seen), size(layer.hidden));
    let bar = format!(
        "<svg class=\"bar small\" viewBox=\"0 0 {WIDTH} 10\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{name}\">\
         <title>{name}</title><rect class=\"userland\" x=\"0\" y=\"0\" width=\"{:.2}\" height=\"10\"/>\
         <rect class=\"kernel\" x=\"{:.2}\" y=\"0\" width=\"{:.2}\" height=\"10\"/></svg>",
        scale(seen),
        scale(seen),
        scale(layer.hidden)
    );
    let command = layer.command.as_deref().unwrap_or("not told");
    vec![
        layer.number.to_string(),
        bar,
        size(layer.bytes),
        size(layer.stored),
        layer.added.to_string(),
        layer.changed.to_string(),
        layer.removed.to_string(),
        format!("<div class=\"wide\">{}</div>", if layer.command.is_some() { code(command) } else { text(command) }),
    ]
}
