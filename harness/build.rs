//! Takes the built-in model into the program where its folder has been filled.

fn main() {
    let model = "../datasets/builtin/model.safetensors";
    println!("cargo::rustc-check-cfg=cfg(builtin_model)");
    println!("cargo::rerun-if-changed=../datasets/builtin");
    if std::path::Path::new(model).exists() {
        println!("cargo::rustc-cfg=builtin_model");
    }
}
