//! LoRA weights as inputs of the graph: exposing them, and moving the work that depends on them alone out of each run.
//!
//! * [`expose`] puts a branch `up(down(x))` beside every adapted layer; its factors are inputs of the graph.
//! * [`hoist`] moves what depends on the adapter alone into the graph `@pack`, which runs once per adapter.
//! * [`lift`] takes adapters that a model was exported with out of its graph.
//! * [`pack`] lays adapters out over the inputs of a module, and blends several.
//! * [`interface`] says what a module takes of an adapter, and [`layer`] what can have one.
//!
//! Names are PEFT's: `lora_A` reduces to the rank, `lora_B` leads back to the layer's channels. Papers, among them the
//! one on QUAD, write `W + AB` and mean by `A` what is `lora_B` here.

pub mod expose;
pub mod hoist;
pub mod interface;
pub mod layer;
pub mod lift;
pub mod pack;
