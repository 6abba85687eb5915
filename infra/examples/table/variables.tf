variable "package" {
  description = "The zip that `make package` built: dist/capture-python3.X-ARCH.zip."
  type        = string
}
