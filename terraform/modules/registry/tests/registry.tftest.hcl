mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "111122223333" }
  }
}

variables {
  repositories    = ["acme/app", "acme/worker"]
  replica_regions = []
}

run "tags_are_immutable_without_exception" {
  command = plan

  assert {
    condition     = alltrue([for r in aws_ecr_repository.this : r.image_tag_mutability == "IMMUTABLE" && length(r.image_tag_mutability_exclusion_filter) == 0])
    error_message = "a tag can be moved"
  }
  assert {
    condition     = alltrue([for r in aws_ecr_repository.this : r.image_scanning_configuration[0].scan_on_push && r.encryption_configuration[0].encryption_type == "KMS" && r.force_delete == false])
    error_message = "not scanned, not encrypted with the key, or deleted with its images"
  }
  assert {
    condition     = length(aws_ecr_repository.this) == 2 && length(aws_ecr_replication_configuration.this) == 0
    error_message = "two repositories and no replication expected"
  }
}

run "what_has_run_is_taken_first_and_never_expired" {
  command = plan
  variables {
    keep_days = 45
  }

  assert {
    condition     = alltrue([for p in aws_ecr_lifecycle_policy.this : jsondecode(p.policy).rules[0].selection.tagPatternList == ["ran-*"] && jsondecode(p.policy).rules[0].selection.countNumber >= 1000000])
    error_message = "the first rule does not keep what has run"
  }
  assert {
    condition     = alltrue([for p in aws_ecr_lifecycle_policy.this : jsondecode(p.policy).rules[1].selection.countNumber == 45 && jsondecode(p.policy).rules[1].rulePriority > jsondecode(p.policy).rules[0].rulePriority])
    error_message = "the second rule does not wait the days asked for, or comes first"
  }
  assert {
    condition     = alltrue([for p in aws_ecr_lifecycle_policy.this : alltrue([for r in jsondecode(p.policy).rules : r.selection.tagStatus == "tagged"])])
    error_message = "a rule takes images without a tag: those are the evidence"
  }
}

run "evidence_of_cosign_2_is_said_aloud" {
  command = plan
  variables {
    cosign_2_evidence = true
  }
  expect_failures = [check.tags_are_immutable]
}

run "copies_are_as_immutable" {
  command = plan
  variables {
    replica_regions = ["eu-west-1", "us-gov-west-1"]
  }

  assert {
    condition     = length(aws_ecr_repository_creation_template.replica) == 4 && alltrue([for t in aws_ecr_repository_creation_template.replica : t.image_tag_mutability == "IMMUTABLE" && contains(t.applied_for, "REPLICATION")])
    error_message = "a replica's repository would be made with mutable tags"
  }
  assert {
    condition     = length(aws_ecr_replication_configuration.this[0].replication_configuration[0].rule[0].destination) == 2
    error_message = "not every region is a destination"
  }
}

run "a_name_with_a_capital_is_refused" {
  command = plan
  variables {
    repositories = ["Acme/app"]
  }
  expect_failures = [var.repositories]
}

run "a_week_is_too_short" {
  command = plan
  variables {
    keep_days = 7
  }
  expect_failures = [var.keep_days]
}

run "a_region_that_is_none_is_refused" {
  command = plan
  variables {
    replica_regions = ["Frankfurt"]
  }
  expect_failures = [var.replica_regions]
}

run "a_key_gone_at_once_is_refused" {
  command = plan
  variables {
    key_deletion_days = 1
  }
  expect_failures = [var.key_deletion_days]
}
