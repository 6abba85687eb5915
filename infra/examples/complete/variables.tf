variable "package" {
  description = "The zip that `make package` built: dist/capture-python3.X-ARCH.zip."
  type        = string
}

variable "image_tag" {
  description = "The tag of the image of jobs, in the repository of the output repository_url."
  type        = string
}

variable "network" {
  description = "Where jobs run: see modules/jobs."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
    assign_public_ip   = optional(bool, false)
  })
}

variable "alarm_emails" {
  description = "Who gets the alarms."
  type        = set(string)
}
