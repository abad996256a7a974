//! The page's style: one file of CSS, light and dark. Text has a contrast of at least 4.5 to its background in both
//! schemes, areas of pictures at least 3 to the page's.

/// The style sheet.
pub const CSS: &str = "\
:root { color-scheme: light dark; --page: #ffffff; --card: #f6f7f9; --text: #1b1f24; --soft: #57606a;
  --line: #d0d7de; --accent: #0b5cad; --firmware: #6e4a9e; --boot-stage: #a8336f; --loader: #b4540a;
  --kernel: #c02b2b; --initramfs: #7a6a00; --userland: #1a7f37; --metadata: #3f6f8f; --files: #0b5cad;
  --free: #e4e7eb; --unknown: #8c959f; --on: #ffffff; }
@media (prefers-color-scheme: dark) { :root { --page: #0e1116; --card: #171b22; --text: #e6edf3;
  --soft: #9ba7b4; --line: #313943; --accent: #6cb6ff; --firmware: #b794f4; --boot-stage: #f07ab4;
  --loader: #f0a35e; --kernel: #ff8a80; --initramfs: #d9c441; --userland: #56d364; --metadata: #79b8d8;
  --files: #6cb6ff; --free: #2a313b; --unknown: #77818c; --on: #0e1116; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .2rem 0 1rem; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
code { font: .875em/1.4 ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
.kind { margin: 0; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 0 0 1rem; }
dl { margin: 0; display: grid; grid-template-columns: 9rem 1fr; gap: .35rem .75rem; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; }
.evidence { color: var(--soft); }
ul { margin: .25rem 0; padding-left: 1.25rem; }
details { margin: .5rem 0; }
summary { cursor: pointer; }
footer { color: var(--soft); font-size: .875rem; }
.scroll { overflow-x: auto; margin: .5rem 0; background:
  linear-gradient(to right, var(--card) 40%, transparent) left / 2.5rem 100% no-repeat local,
  linear-gradient(to left, var(--card) 40%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(to right, var(--soft), transparent) left / .75rem 100% no-repeat scroll,
  linear-gradient(to left, var(--soft), transparent) right / .75rem 100% no-repeat scroll; }
.scroll table { min-width: 26rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; overflow-wrap: normal; }
caption { text-align: left; color: var(--soft); padding: .25rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); }
td { min-width: 3rem; }
td code { overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.wide { min-width: 12rem; }
.lines { white-space: nowrap; }
.bar { display: block; width: 100%; height: 2.25rem; border: 1px solid var(--line); border-radius: .25rem; background: var(--free); }
.small { height: 1rem; min-width: 8rem; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .5rem 0; }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; margin-right: .4rem;
  border: 1px solid var(--soft); vertical-align: -.05rem; }
.firmware { fill: var(--firmware); background: var(--firmware); }
.boot-stage { fill: var(--boot-stage); background: var(--boot-stage); }
.loader { fill: var(--loader); background: var(--loader); }
.kernel { fill: var(--kernel); background: var(--kernel); }
.initramfs { fill: var(--initramfs); background: var(--initramfs); }
.userland { fill: var(--userland); background: var(--userland); }
.metadata { fill: var(--metadata); background: var(--metadata); }
.files { fill: var(--files); background: var(--files); }
.free { fill: var(--free); background: var(--free); }
.edge { fill: var(--text); }
.unknown { fill: var(--unknown); background: var(--unknown); }
.tree { position: relative; height: 26rem; border: 1px solid var(--line); border-radius: .25rem; overflow: hidden; }
.box { position: absolute; overflow: hidden; border: 1px solid var(--page); padding: .1rem .3rem; font-size: .75rem;
  line-height: 1.3; color: var(--on); white-space: nowrap; text-overflow: ellipsis; }
.box0 { background: var(--files); } .box1 { background: var(--userland); } .box2 { background: var(--firmware); }
.box3 { background: var(--loader); } .box4 { background: var(--metadata); } .box5 { background: var(--boot-stage); }
.in { position: absolute; left: 0; right: 0; top: 1.2rem; bottom: 0; }
.inner { background: transparent; border-color: var(--on); }
.pass, .yes { color: var(--userland); } .warn, .unknown-verdict, .perhaps { color: var(--loader); } .fail, .no { color: var(--kernel); }
.verdict { font-weight: 600; }
@media (max-width: 40rem) { body { padding: .5rem; } section { padding: .75rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .35rem; } .tree { height: 32rem; } }
@media print { section { break-inside: avoid; } }
";

/// The contrast ratio of two colours `#rrggbb` (WCAG 2.1, "contrast ratio").
#[cfg(test)]
fn contrast(a: &str, b: &str) -> f64 {
    let luminance = |colour: &str| {
        let part = |i: usize| {
            let value = f64::from(u8::from_str_radix(&colour[1 + 2 * i..3 + 2 * i], 16).unwrap()) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(1) + 0.0722 * part(2)
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a variable in the light (0) or dark (1) scheme.
    fn colour(name: &str, scheme: usize) -> &'static str {
        let mark = format!("--{name}: ");
        let (at, _) = CSS.match_indices(&mark).nth(scheme).unwrap_or_else(|| panic!("{name} in both schemes"));
        &CSS[at + mark.len()..at + mark.len() + 7]
    }

    #[test]
    fn text_and_areas_can_be_told_from_what_is_behind_them() {
        for scheme in [0, 1] {
            for (front, behind) in [("text", "page"), ("text", "card"), ("soft", "card"), ("soft", "page")] {
                assert!(
                    contrast(colour(front, scheme), colour(behind, scheme)) >= 4.5,
                    "{front} on {behind}, {scheme}"
                );
            }
            for area in ["files", "userland", "firmware", "loader", "metadata", "boot-stage"] {
                assert!(
                    contrast(colour("on", scheme), colour(area, scheme)) >= 4.5,
                    "names on {area}, scheme {scheme}"
                );
            }
            for area in ["firmware", "boot-stage", "loader", "kernel", "initramfs", "userland", "metadata", "files"] {
                assert!(contrast(colour(area, scheme), colour("card", scheme)) >= 3.0, "{area}, scheme {scheme}");
                assert!(contrast(colour(area, scheme), colour("free", scheme)) >= 3.0, "{area} beside free, {scheme}");
            }
            for verdict in ["userland", "loader", "kernel"] {
                assert!(
                    contrast(colour(verdict, scheme), colour("card", scheme)) >= 4.5,
                    "{verdict} as text, {scheme}"
                );
            }
        }
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 0.01);
    }
}
