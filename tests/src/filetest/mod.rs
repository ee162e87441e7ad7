//! Tests that are text files: a sentence, a header of commands, and a graph.
//!
//! ```text
//! // Negative elements become zero; NaN stays what it is.
//! //! eval: x = [-1.5, 0, nan, 2]
//! //! onnx
//! quad 1
//!
//! graph @main(%x: f32[4]) {
//!   %y = relu(%x) : f32[4]
//!   return "y" = %y
//! }
//! ```
//!
//! Each command is one small file that implements [`FileTest`]; [`COMMANDS`] lists them. What a test has to show goes to
//! its [`Story`], which is compared with a snapshot.

mod draw;
mod eval;
mod header;
mod import;
mod onnx;
mod roundtrip;
mod run;
mod story;
mod verify;

use libtest_mimic::Failed;
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::text::{self, MemoryWeights, NoWeights};

pub use header::{Case, Command, ExpectedError};
pub use story::Story;

/// A command of a test's header.
pub trait FileTest: Sync {
    /// The word by which headers call it.
    fn name(&self) -> &'static str;

    /// Does the work, and tells what is worth showing.
    fn run(&self, test: &mut Test<'_>, arguments: &[String]) -> Result<(), Failed>;
}

/// All commands.
pub const COMMANDS: &[&dyn FileTest] = &[
    &eval::Eval,
    &import::Import,
    &onnx::Onnx,
    &roundtrip::Roundtrip,
    &run::Compare,
    &run::Run,
    &verify::Verify,
];

/// A test at work.
pub struct Test<'c> {
    /// What is tested.
    pub case: &'c Case,
    /// What there is to show so far.
    pub story: Story,
    module: Option<Module>,
}

impl<'c> Test<'c> {
    /// The module that the test is about: the text, unless a command put another in its place.
    pub fn module(&mut self) -> Result<&Module, Failed> {
        if self.module.is_none() {
            let parsed = text::parse(&self.case.text, &NoWeights);
            self.module = Some(parsed.map_err(|error| error.show().to_string())?);
        }
        self.module.as_ref().ok_or_else(|| "there is no module".into())
    }

    /// Lets the test be about `module` from here on.
    pub fn set_module(&mut self, module: Module) {
        self.module = Some(module);
    }

    /// The arguments of the header's first `eval` of the graph that runs, for commands that run it by the way.
    pub fn eval_arguments(&self) -> &'c [String] {
        let is_main = |command: &&Command| {
            command.name == "eval" && !command.arguments.iter().any(|argument| argument.starts_with('@'))
        };
        self.case.commands.iter().find(is_main).map_or(&[], |command| command.arguments.as_slice())
    }

    /// The inputs that this `eval` states or draws.
    pub fn inputs(&mut self) -> Result<NamedTensors, Failed> {
        let arguments = self.eval_arguments();
        eval::Settings::read(self.module()?, arguments)?.inputs()
    }
}

/// Runs all commands of `case`, and `roundtrip` where nothing speaks against it, and returns what they told.
pub fn run(case: &Case) -> Result<Story, Failed> {
    if case.sentence.is_empty() {
        return Err("the file must start with a comment of a sentence that says what it shows".into());
    }
    let mut test = Test { case, story: Story::default(), module: None };
    for (command, arguments) in plan(case)? {
        command.run(&mut test, arguments)?;
    }
    Ok(test.story)
}

/// A command and its arguments.
type Step<'c> = (&'static dyn FileTest, &'c [String]);

/// The commands in the order in which they run.
fn plan(case: &Case) -> Result<Vec<Step<'_>>, Failed> {
    let mut plan: Vec<Step<'_>> = Vec::new();
    for command in &case.commands {
        let known = COMMANDS.iter().find(|known| known.name() == command.name).ok_or_else(|| {
            let names: Vec<&str> = COMMANDS.iter().map(|known| known.name()).collect();
            format!(
                "line {}: there is no command `{}`; known are {}",
                command.line,
                command.name,
                names.join(", ")
            )
        })?;
        plan.push((*known, &command.arguments));
    }
    let listed = |name: &str| plan.iter().position(|(command, _)| command.name() == name);
    if listed("roundtrip").is_none() && listed("verify").is_none() {
        // A model has to be there before it can be printed.
        let place = listed("import").map_or(0, |index| index + 1);
        plan.insert(place, (&roundtrip::Roundtrip, &[]));
    }
    Ok(plan)
}

/// The weights of all graphs of `module`, for reading its text back.
fn weights_of(module: &Module) -> Result<MemoryWeights, Failed> {
    let mut weights = MemoryWeights::default();
    for graph in &module.graphs {
        weights.extend(graph.weights())?;
    }
    Ok(weights)
}
