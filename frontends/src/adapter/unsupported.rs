//! What adapter files hold that is no low-rank branch, and why it is not read.

/// Something that is recognised and refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// What its users call it.
    pub name: &'static str,
    /// Why it is refused.
    pub why: &'static str,
}

macro_rules! unsupported {
    ($($constant:ident = $name:literal, $why:literal;)*) => {
        $(pub(super) const $constant: Unsupported = Unsupported { name: $name, why: $why };)*
    };
}

unsupported! {
    DORA = "DoRA",
        "it scales each output channel by the norm of the adapted weight, which no branch beside a frozen layer computes; \
         train without it, or merge it";
    DIFF = "a full difference of a weight (`diff`)",
        "it is not of low rank; merge it into the model, or extract a LoRA from it";
    NORM = "a change of a normalization (`w_norm`, `b_norm`)",
        "it adapts no layer with a weight matrix; merge it into the model";
    OFT = "OFT or BOFT",
        "it multiplies the weight with a rotation, which is no branch beside the layer; merge it into the model";
    IA3 = "IA3",
        "it multiplies activations, which is no branch beside the layer; merge it into the model";
    GLORA = "GLoRA",
        "its branch depends on the base weight; merge it into the model";
    ADALORA = "AdaLoRA",
        "it has singular values between the factors; save the adapter as plain LoRA";
    VERA = "VeRA",
        "its factors are shared by all layers and not stored; save the adapter as plain LoRA";
    LORA_BIAS = "a bias of the branch (`lora_bias`)",
        "a branch here has two factors and no bias; train with lora_bias=False";
    BIAS = "trained biases",
        "they replace those of the frozen model; train with bias=\"none\", or merge them";
    MODULES_TO_SAVE = "whole trained modules (`modules_to_save`)",
        "they replace weights of the frozen model; merge them into it";
    EMBEDDING = "the adapter of an embedding",
        "it adapts a table look-up, not a product; merge it into the model";
    TEXTUAL_INVERSION = "a textual inversion embedding",
        "it is a new word and no adapter of a layer; keep it in a file of its own";
    INITIALIZATION = "an initialization that changes the base weights (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA)",
        "the factors are no difference to the stock model; convert the adapter with PEFT's `path_initial_model_for_weight_conversion`";
    FUSED = "names of a transformer's original code (`double_blocks`, `joint_blocks`)",
        "one module there is several layers in diffusers; convert the file to diffusers' names";
    PICKLE = "a file that runs code when it is loaded (.bin, .pt, .ckpt)",
        "convert it to safetensors";
}
