//! The names that UNets have in the code they come from (`input_blocks`, `middle_block`, `output_blocks`), which files
//! for SDXL use.
//!
//! They are made from the paths of diffusers, which say how the model is built; with `L` layers in a block:
//!
//! | diffusers | original |
//! |---|---|
//! | `down_blocks.b.resnets.j`, `attentions.j` | `input_blocks.{(L+1)b+j+1}.0`, `.1` |
//! | `down_blocks.b.downsamplers.0.conv` | `input_blocks.{(L+1)(b+1)}.0.op` |
//! | `mid_block.resnets.j`, `attentions.0` | `middle_block.{2j}`, `middle_block.1` |
//! | `up_blocks.b.resnets.j`, `attentions.j` | `output_blocks.{(L+1)b+j}.0`, `.1` |
//! | `up_blocks.b.upsamplers.0.conv` | `output_blocks.{(L+1)b+L}.{2 with attentions, else 1}.conv` |

use std::collections::BTreeSet;

/// What the names depend on besides the path.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// Residual layers in a block of the way down.
    layers: usize,
    /// Blocks of the way up that have attention.
    attentive: BTreeSet<usize>,
}

/// Modules outside of the blocks.
const SINGLE: &[(&str, &str)] = &[
    ("conv_in", "input_blocks.0.0"),
    ("conv_out", "out.2"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
];

/// Modules inside of a residual layer.
const RESIDUAL: &[(&str, &str)] = &[
    ("conv1", "in_layers.2"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
];

impl Layout {
    /// The layout of the model with modules at `paths`.
    pub(super) fn of(paths: &[&str]) -> Self {
        let mut layout = Self::default();
        for path in paths {
            match *path.split('.').collect::<Vec<_>>() {
                ["down_blocks", _, "resnets", layer, ..] => {
                    let layers = layer.parse().map_or(0, |layer: usize| layer.saturating_add(1));
                    layout.layers = layout.layers.max(layers);
                }
                ["up_blocks", block, "attentions", ..] => layout.attentive.extend(block.parse::<usize>()),
                _ => {}
            }
        }
        layout
    }

    /// The original name of the module at `path`; `None` where it has none that is known.
    pub(super) fn name(&self, path: &str) -> Option<String> {
        if let Some((_, name)) = SINGLE.iter().find(|(known, _)| *known == path) {
            return Some((*name).to_owned());
        }
        let segments: Vec<&str> = path.split('.').collect();
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number < 1 << 16);
        let per_block = self.layers + 1;
        let (block, inside) = match *segments.as_slice() {
            ["down_blocks", block, "downsamplers", "0", "conv"] => {
                return Some(format!("input_blocks.{}.0.op", per_block * (number(block)? + 1)));
            }
            ["up_blocks", block, "upsamplers", "0", "conv"] => {
                let block = number(block)?;
                let place = if self.attentive.contains(&block) { 2 } else { 1 };
                return Some(format!("output_blocks.{}.{place}.conv", per_block * block + self.layers));
            }
            ["down_blocks", block, part, layer, ..] => {
                let index = per_block * number(block)? + number(layer)? + 1;
                (format!("input_blocks.{index}.{}", place(part)?), &segments[4..])
            }
            ["mid_block", "resnets", layer, ..] => {
                (format!("middle_block.{}", 2 * number(layer)?), &segments[3..])
            }
            ["mid_block", "attentions", "0", ..] => ("middle_block.1".to_owned(), &segments[3..]),
            ["up_blocks", block, part, layer, ..] => {
                let index = per_block * number(block)? + number(layer)?;
                (format!("output_blocks.{index}.{}", place(part)?), &segments[4..])
            }
            _ => return None,
        };
        let inside = inside.join(".");
        let is_residual = segments.contains(&"resnets");
        let inside = match RESIDUAL.iter().find(|(known, _)| is_residual && *known == inside) {
            Some((_, original)) => (*original).to_owned(),
            None if is_residual => return None,
            None => inside,
        };
        Some(format!("{block}.{inside}"))
    }
}

/// Where in a block of the original code a part stands.
fn place(part: &str) -> Option<u8> {
    match part {
        "resnets" => Some(0),
        "attentions" => Some(1),
        _ => None,
    }
}
