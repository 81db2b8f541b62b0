// SPDX-License-Identifier: Apache-2.0
// regorus on the cases that policybench --write made: DIR/NAME.{rego,input.json,data.json,query}.
// A line per case and engine: NAME ENGINE ns_with_json ns_without
// with_json: the input is read from its text each time; the data is read once in both.
use regorus::rvm::vm::RegoVM;
use regorus::{Engine, Value};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn text(dir: &str, name: &str, ext: &str) -> String {
    std::fs::read_to_string(format!("{dir}/{name}.{ext}")).expect("case file")
}

// Nanoseconds of one run: the median of batches.
fn measure(seconds: f64, mut f: impl FnMut()) -> f64 {
    for _ in 0..32 {
        f();
    }
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut batches = Vec::new();
    while Instant::now() < end || batches.len() < 5 {
        let start = Instant::now();
        for _ in 0..16 {
            f();
        }
        batches.push(start.elapsed().as_nanos() as f64 / 16.0);
    }
    batches.sort_by(|a, b| a.partial_cmp(b).unwrap());
    batches[batches.len() / 2]
}

fn engine(rego: &str, data: &Value) -> Engine {
    let mut e = Engine::new();
    e.add_policy("policy.rego".into(), rego.into()).expect("policy");
    e.add_data(data.clone()).expect("data");
    e
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (dir, seconds) = (&args[1], args[2].parse::<f64>().expect("seconds"));
    for name in &args[3..] {
        let (rego, json) = (text(dir, name, "rego"), text(dir, name, "input.json"));
        let data = Value::from_json_str(&text(dir, name, "data.json")).expect("data");
        let query = text(dir, name, "query").trim().to_string();
        let input = Value::from_json_str(&json).expect("input");

        let mut e = engine(&rego, &data);
        let with = measure(seconds, || {
            e.set_input(Value::from_json_str(&json).unwrap());
            black_box(e.eval_rule(query.clone()).unwrap());
        });
        let without = measure(seconds, || {
            e.set_input(input.clone());
            black_box(e.eval_rule(query.clone()).unwrap());
        });
        println!("{name} engine {with:.0} {without:.0}");

        let compiled = match engine(&rego, &data).compile_with_entrypoint(&query.as_str().into()) {
            Ok(c) => c,
            Err(_) => continue,
        };
        let with = measure(seconds, || {
            black_box(compiled.eval_with_input(Value::from_json_str(&json).unwrap()).unwrap());
        });
        let without = measure(seconds, || {
            black_box(compiled.eval_with_input(input.clone()).unwrap());
        });
        println!("{name} compiled {with:.0} {without:.0}");

        let program = match regorus::languages::rego::compiler::Compiler::compile_from_policy(
            &compiled,
            &[query.as_str()],
        ) {
            Ok(p) => p,
            Err(_) => continue,
        };
        let mut vm = RegoVM::new();
        vm.load_program(program);
        if vm.set_data(data.clone()).is_err() {
            continue;
        }
        vm.set_input(input.clone());
        if vm.execute().is_err() {
            continue;
        }
        let with = measure(seconds, || {
            vm.set_input(Value::from_json_str(&json).unwrap());
            black_box(vm.execute().unwrap());
        });
        let without = measure(seconds, || {
            vm.set_input(input.clone());
            black_box(vm.execute().unwrap());
        });
        println!("{name} rvm {with:.0} {without:.0}");
    }
}
