//! Where a userland's bytes are: directories as boxes whose areas are their sizes, two levels of them, and as a list.

use super::{code, text};
use crate::inspect::model::Size;
use crate::inspect::render::units::{count, size};

/// Colours of the boxes.
const COLOURS: usize = 6;
/// Boxes below this share of the picture's width or height, in percent, have no name.
const NAMED: f64 = 6.0;

/// A place in percent of the picture.
#[derive(Clone, Copy)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// Picture and list.
pub fn sizes(root: &Size) -> String {
    let mut boxes = String::new();
    for (i, (child, area)) in placed(root, Area { x: 0.0, y: 0.0, width: 100.0, height: 100.0 }).into_iter().enumerate()
    {
        let inner: String = placed(child, Area { x: 0.0, y: 14.0, width: 100.0, height: 86.0 })
            .into_iter()
            .filter(|_| area.width > NAMED && area.height > NAMED)
            .map(|(grandchild, place)| one("inner", grandchild, place, area, ""))
            .collect();
        boxes.push_str(&one(
            &format!("box{}", i % COLOURS),
            child,
            area,
            Area { x: 0.0, y: 0.0, width: 100.0, height: 100.0 },
            &inner,
        ));
    }
    let largest: Vec<String> =
        root.children.iter().take(4).map(|child| format!("{} {}", child.name, size(child.bytes))).collect();
    let name =
        format!("Boxes for directories by size: {} in all; the largest are {}", size(root.bytes), largest.join(", "));
    format!(
        "<div class=\"tree\" role=\"img\" aria-label=\"{}\">\n{boxes}</div>\n<details><summary>The same as a list</summary>\n{}</details>\n",
        text(&name),
        list(root)
    )
}

/// One box. `outer` is the area that `area` is a part of, for the decision whether a name fits.
fn one(class: &str, of: &Size, area: Area, outer: Area, inner: &str) -> String {
    let fits = area.width * outer.width / 100.0 > NAMED && area.height * outer.height / 100.0 > NAMED / 1.5;
    let name = if fits { format!("{} {}", text(&of.name), size(of.bytes)) } else { String::new() };
    format!(
        "<div class=\"box {class}\" title=\"{}: {}\" style=\"left:{:.2}%;top:{:.2}%;width:{:.2}%;height:{:.2}%\">{name}{inner}</div>\n",
        text(&of.name),
        size(of.bytes),
        area.x,
        area.y,
        area.width,
        area.height
    )
}

/// The children of a directory in an area, by size: each time the larger half goes to one side, so that boxes stay
/// close to squares. What is left out of the report is empty space.
fn placed(size: &Size, area: Area) -> Vec<(&Size, Area)> {
    let mut out = Vec::new();
    let children: Vec<&Size> = size.children.iter().filter(|child| child.bytes > 0).collect();
    let listed: u64 = children.iter().map(|child| child.bytes).sum();
    if listed == 0 {
        return out;
    }
    let used = Area { height: area.height * listed as f64 / size.bytes.max(1) as f64, ..area };
    split(&children, used, &mut out);
    out
}

fn split<'a>(children: &[&'a Size], area: Area, out: &mut Vec<(&'a Size, Area)>) {
    match children {
        [] => {}
        [one] => out.push((one, area)),
        several => {
            let total: u64 = several.iter().map(|child| child.bytes).sum();
            let (mut first, mut count) = (0, 0);
            while count + 1 < several.len() && (count == 0 || first + several[count].bytes <= total / 2) {
                first += several[count].bytes;
                count += 1;
            }
            let share = first as f64 / total.max(1) as f64;
            let (a, b) = if area.width >= area.height {
                let width = area.width * share;
                (Area { width, ..area }, Area { x: area.x + width, width: area.width - width, ..area })
            } else {
                let height = area.height * share;
                (Area { height, ..area }, Area { y: area.y + height, height: area.height - height, ..area })
            };
            split(&several[..count], a, out);
            split(&several[count..], b, out);
        }
    }
}

fn list(of: &Size) -> String {
    if of.children.is_empty() {
        return String::new();
    }
    let item = |child: &Size| {
        let names = if child.names > 0 { format!(", {}", count(child.names, "name")) } else { String::new() };
        format!("<li>{} {}{names}{}</li>\n", code(&child.name), size(child.bytes), list(child))
    };
    format!("\n<ul>\n{}</ul>\n", of.children.iter().map(item).collect::<String>())
}
