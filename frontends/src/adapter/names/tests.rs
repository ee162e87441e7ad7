//! Names with underscores, and those of the original code of UNets.

use super::*;

/// What `spelled` stands for among `paths`.
fn meaning(component: Component, paths: &[&str], spelled: &str) -> Option<String> {
    match Spellings::of(component, paths).find(spelled) {
        Lookup::One(path) => Some(path.to_owned()),
        _ => None,
    }
}

/// Modules of a UNet of three levels with two layers each, as SDXL has them; attention on the lower two.
const UNET: &[&str] = &[
    "conv_in",
    "conv_out",
    "time_embedding.linear_1",
    "add_embedding.linear_2",
    "down_blocks.0.resnets.0.conv1",
    "down_blocks.0.resnets.1.time_emb_proj",
    "down_blocks.0.downsamplers.0.conv",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "down_blocks.1.resnets.0.conv_shortcut",
    "down_blocks.2.attentions.1.proj_in",
    "mid_block.resnets.1.conv2",
    "mid_block.attentions.0.proj_out",
    "up_blocks.0.attentions.2.transformer_blocks.9.ff.net.0.proj",
    "up_blocks.0.upsamplers.0.conv",
    "up_blocks.2.resnets.2.conv1",
];

#[test]
fn both_spellings_of_a_unet_are_understood() {
    for (original, path) in [
        ("input_blocks_0_0", "conv_in"),
        ("out_2", "conv_out"),
        ("time_embed_0", "time_embedding.linear_1"),
        ("label_emb_0_2", "add_embedding.linear_2"),
        ("input_blocks_1_0_in_layers_2", "down_blocks.0.resnets.0.conv1"),
        ("input_blocks_2_0_emb_layers_1", "down_blocks.0.resnets.1.time_emb_proj"),
        ("input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv"),
        (
            "input_blocks_4_1_transformer_blocks_0_attn1_to_out_0",
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0",
        ),
        ("input_blocks_4_0_skip_connection", "down_blocks.1.resnets.0.conv_shortcut"),
        ("input_blocks_8_1_proj_in", "down_blocks.2.attentions.1.proj_in"),
        ("middle_block_2_out_layers_3", "mid_block.resnets.1.conv2"),
        ("middle_block_1_proj_out", "mid_block.attentions.0.proj_out"),
        (
            "output_blocks_2_1_transformer_blocks_9_ff_net_0_proj",
            "up_blocks.0.attentions.2.transformer_blocks.9.ff.net.0.proj",
        ),
        ("output_blocks_2_2_conv", "up_blocks.0.upsamplers.0.conv"),
        ("output_blocks_8_0_in_layers_2", "up_blocks.2.resnets.2.conv1"),
    ] {
        assert_eq!(meaning(Component::Unet, UNET, original).as_deref(), Some(path));
        assert_eq!(meaning(Component::Unet, UNET, &mangled(path)).as_deref(), Some(path));
    }
    assert_eq!(meaning(Component::Unet, UNET, "input_blocks_9_0_op"), None);
}

#[test]
fn an_upsampler_without_attention_before_it_has_another_index() {
    let paths =
        ["down_blocks.0.resnets.1.conv1", "up_blocks.0.resnets.0.conv1", "up_blocks.0.upsamplers.0.conv"];
    let found = meaning(Component::Unet, &paths, "output_blocks_2_1_conv");
    assert_eq!(found.as_deref(), Some("up_blocks.0.upsamplers.0.conv"));
}

#[test]
fn text_encoders_have_a_text_model_or_not() {
    let spelled = "text_model_encoder_layers_0_mlp_fc1";
    for path in ["encoder.layers.0.mlp.fc1", "text_model.encoder.layers.0.mlp.fc1"] {
        assert_eq!(meaning(Component::TextEncoder, &[path], spelled).as_deref(), Some(path));
        let short = meaning(Component::TextEncoder, &[path], "encoder_layers_0_mlp_fc1");
        assert_eq!(short.as_deref(), Some(path));
    }
}

#[test]
fn two_modules_that_are_spelled_alike_are_told_apart_by_nobody() {
    let spellings = Spellings::of(Component::Unet, &["a.b_c", "a_b.c"]);
    assert_eq!(spellings.find("a_b_c"), Lookup::Two(["a.b_c", "a_b.c"]));
}

#[test]
fn the_nearest_names_come_first() {
    let near = nearest("a_b_to_qq", ["z.z.z.z", "a.b.to_q", "a.b.to_k"].into_iter());
    assert_eq!(near, ["a.b.to_q", "a.b.to_k", "z.z.z.z"]);
}

/// The modules with weights of SDXL's UNet, as its configuration builds them.
fn sdxl() -> Vec<String> {
    let mut paths: Vec<String> = ["conv_in", "conv_out"].map(str::to_owned).to_vec();
    for embedding in ["time_embedding", "add_embedding"] {
        paths.extend([1, 2].map(|layer| format!("{embedding}.linear_{layer}")));
    }
    let resnet = |block: &str, layer: usize, has_shortcut: bool| {
        let parts = ["conv1", "conv2", "time_emb_proj", "conv_shortcut"];
        let count = if has_shortcut { 4 } else { 3 };
        parts[..count].iter().map(|part| format!("{block}.resnets.{layer}.{part}")).collect::<Vec<_>>()
    };
    let attention = |block: &str, index: usize, layers: usize| {
        let at = format!("{block}.attentions.{index}");
        let mut paths = vec![format!("{at}.proj_in"), format!("{at}.proj_out")];
        for layer in 0..layers {
            let inner =
                ["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k"];
            let rest = ["attn2.to_v", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2"];
            paths.extend(
                inner.iter().chain(&rest).map(|part| format!("{at}.transformer_blocks.{layer}.{part}")),
            );
        }
        paths
    };
    for (block, layers) in [0, 2, 10].into_iter().enumerate() {
        let at = format!("down_blocks.{block}");
        for index in 0..2 {
            paths.extend(resnet(&at, index, block > 0 && index == 0));
            paths.extend(if layers > 0 { attention(&at, index, layers) } else { Vec::new() });
        }
        paths.extend((block < 2).then(|| format!("{at}.downsamplers.0.conv")));
    }
    paths.extend((0..2).flat_map(|index| resnet("mid_block", index, false)));
    paths.extend(attention("mid_block", 0, 10));
    for (block, layers) in [10, 2, 0].into_iter().enumerate() {
        let at = format!("up_blocks.{block}");
        for index in 0..3 {
            paths.extend(resnet(&at, index, true));
            paths.extend(if layers > 0 { attention(&at, index, layers) } else { Vec::new() });
        }
        paths.extend((block < 2).then(|| format!("{at}.upsamplers.0.conv")));
    }
    paths
}

#[test]
fn every_module_of_sdxl_has_two_names_of_its_own() {
    let paths = sdxl();
    assert_eq!(paths.len(), 794);
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let layout = sgm::Layout::of(&paths);
    let spellings = Spellings::of(Component::Unet, &paths);
    for path in &paths {
        let original = layout.name(path).unwrap_or_else(|| panic!("{path} has no original name"));
        for spelled in [mangled(&original), mangled(path)] {
            assert_eq!(spellings.find(&spelled), Lookup::One(path), "{spelled}");
        }
    }
}
