mock_provider "aws" {
  source          = "../../mocks"
  override_during = plan
}

variables {
  package      = "../../modules/function/tests/packages/capture-python3.13-x86_64.zip"
  image_tag    = "0.1.0"
  alarm_emails = ["on-call@example.org"]
  network = {
    subnet_ids         = ["subnet-0123456789abcdef0"]
    security_group_ids = ["sg-0123456789abcdef0"]
  }
}

run "the_lake_is_the_same_for_all" {
  command = plan

  assert {
    condition     = output.add_table == "dynalake --lake s3://shop-111122223333-eu-central-1/lake add-table orders --from-dynamodb --surface kds"
    error_message = "The table lands in the lake."
  }
  assert {
    condition     = startswith(output.init, "dynalake --lake s3://shop-111122223333-eu-central-1/lake init")
    error_message = "Which is the one that init makes."
  }
}
