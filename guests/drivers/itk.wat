;; ITK's pipelines: a main function under another name, so that its results may be read afterwards.
(module
  (import "program" "_initialize" (func $initialize))
  (import "program" "itk_wasm_delayed_start" (func $main (result i32)))
  (import "program" "itk_wasm_delayed_exit" (func $exit (param i32)))
  (func (export "_start")
    (call $initialize)
    (call $exit (call $main))))
