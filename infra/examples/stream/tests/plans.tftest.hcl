# All is made at once here: ARNs are not known yet when it is planned, as the first time in an account.
mock_provider "aws" {
  source = "../../mocks"
}

variables {
  package = "../../modules/function/tests/packages/capture-python3.13-x86_64.zip"
}

run "plans" {
  command = plan
}
